"""A labelled set: each database finds the documents that HybridIndex finds, and the right one among them."""

from typing import Any

import pytest

from m3rt import HybridIndex, M3Encoder
from m3rt.adapters import Layout, Loaded, load_index

DOCUMENTS = {
    "tower": "Tokyo Tower is a lattice tower of steel, 333 metres high, in the Shiba district of Tokyo.",
    "eiffel": "The Eiffel Tower in Paris was built of wrought iron from 1887 to 1889 by Gustave Eiffel's company.",
    "danube": "The Danube rises in the Black Forest and flows through ten countries to the Black Sea.",
    "nile": "The Nile flows north through eleven countries of Africa and into the Mediterranean Sea.",
    "pie": "Apple pie is baked from sour apples, sugar, butter and cinnamon in a crust of flour.",
    "bread": "Sourdough bread rises slowly, because wild yeast works slower than baker's yeast.",
    "moon": "The Moon is 384,400 kilometres away and moves about four centimetres farther each year.",
    "mars": "Mars is red because its soil holds iron oxide; it has two small moons.",
    "whale": "The blue whale is the largest animal that has ever lived and feeds on krill.",
    "bee": "A honey bee visits a hundred flowers on a flight and dances to show others the way.",
    "chess": "In chess the king may castle only if neither he nor the rook has moved before.",
    "violin": "A violin has four strings, tuned in fifths, and is played with a bow of horse hair.",
    "printing": "Johannes Gutenberg printed the Bible with movable type of metal in Mainz about 1455.",
    "vaccine": "Edward Jenner vaccinated a boy with cowpox in 1796 to protect him against smallpox.",
    "glacier": "A glacier flows under its own weight and carves valleys of the shape of a U.",
}
QUESTIONS = {
    "How high is Tokyo Tower?": "tower",
    "Who built the Eiffel Tower in Paris?": "eiffel",
    "Through which countries does the Danube flow?": "danube",
    "What is apple pie baked from?": "pie",
    "Why is Mars red?": "mars",
    "What does the blue whale feed on?": "whale",
    "How does a honey bee show others the way to flowers?": "bee",
    "When may the king castle in chess?": "chess",
    "How many strings has a violin?": "violin",
    "Who printed the Bible with movable type?": "printing",
    "How far away is the Moon?": "moon",
    "What did Edward Jenner do against smallpox?": "vaccine",
}
K = 5
SAME = 1e-4  # scores that differ by less are equal: databases add in another order


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    path = tmp_path_factory.mktemp("index") / "index"
    index = HybridIndex.create(path, M3Encoder(threads=1), dense="float32")
    index.add(list(DOCUMENTS), list(DOCUMENTS.values()))
    return index


@pytest.fixture(scope="module")
def collection(database: Any, index: HybridIndex) -> Any:
    found = database(Layout.of_index(index), "labelled")
    assert load_index(found, index, batch=4) == Loaded(added=len(DOCUMENTS), skipped=0)
    assert load_index(found, index, batch=4) == Loaded(added=0, skipped=len(DOCUMENTS))
    return found


@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid"])
def test_the_best_documents_are_those_of_the_index(collection: Any, index: HybridIndex, engine: str, mode: Any) -> None:
    if (engine, mode) == ("lance", "sparse"):
        pytest.skip("LanceDB does not search sparse vectors")
    fusion: Any = (1, 0.3, 0) if engine == "lance" else "rrf"
    right = 0
    for question, answer in QUESTIONS.items():
        query = index.encoder.encode_queries(question, return_sparse=True)
        every = index.search(query, len(DOCUMENTS), mode=mode, fusion=fusion)
        scores = {hit.id: hit.score for hit in every}
        least = every[min(K, len(every)) - 1].score - SAME
        hits = collection.search(query, K, mode=mode, candidates=len(DOCUMENTS))
        # RRF's ranks begin at 0 in some databases, which changes scores by less than 3 % and no order of two ranks.
        slack = 0.03 * least if mode == "hybrid" and fusion == "rrf" else 0
        assert [hit.id for hit in hits if scores.get(hit.id, -1.0) < least - slack] == []
        assert len(hits) == min(K, len(every))
        right += hits[0].id == answer
    assert right >= len(QUESTIONS) - 3
