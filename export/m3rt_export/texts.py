"""Texts that ship with the exporter: golden texts that prove parity, and texts that calibrate int8."""

from importlib.resources import files

# Short texts in several scripts, with cases that tokenizers get wrong: emoji, digits, combining marks, the empty text.
GOLDEN_TEXTS = (
    "What is BGE M3?",
    "Die Straße nach Köln ist 37 km lang.",
    "Où puis-je acheter un café à emporter ?",
    "Сколько стоит билет до Казани?",
    "東京タワーの高さは何メートルですか。",
    "ما هي عاصمة المغرب؟",
    "दिल्ली से आगरा कितनी दूर है?",
    "서울에서 부산까지 기차로 얼마나 걸리나요?",
    "def add(a, b): return a + b  # 🚀",
    "",
)

# Each text with the next one, so that nothing comes once as a query and once as a passage.
GOLDEN_PAIRS = tuple(zip(GOLDEN_TEXTS, (*GOLDEN_TEXTS[1:], GOLDEN_TEXTS[0]), strict=True))


def calibration_texts() -> list[str]:
    """Read the calibration texts: about thirty languages and some code, one text on each line."""
    return (files(__package__) / "calibration.txt").read_text(encoding="utf-8").splitlines()
