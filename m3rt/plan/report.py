"""A plan and measured choices as tables for people, as commands to run, and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..values.counts import counted
from .bundles import bundle_bytes
from .measure import Measured, best_choice, pareto
from .questions import Questions
from .recommendation import Plan
from .sizes import view_bytes

_NAME = 12  # characters


def decisions(plan: Plan) -> dict[str, Any]:
    """What a plan decides, by name, as JSON values."""
    m, c = plan.model, plan.cost
    return {
        "model": m.name,
        "licence": m.licence,
        "precision": plan.precision,
        "pieces": plan.pieces,
        "bundle_bytes": round(bundle_bytes(m, plan.precision, plan.pieces)),
        "dim": plan.dim,
        "views": {"dense": plan.dense} | ({"sparse": "as they are"} if plan.sparse else {})
        | ({"colbert": plan.colbert} if plan.colbert else {}),
        "prompt": m.prompts or None,
        "chunk_tokens": plan.chunk_tokens,
        "rows": plan.corpus.rows,
        "store": plan.store,
        "bytes": {name: round(value) for name, value in plan.parts.items()},
        "tokens": round(c.tokens),
        "tokens_per_s": round(plan.speed.tokens_per_s),
        "machines": c.machines,
        "hours": c.hours,
        "dollars": c.dollars,
        "query_ms": plan.query_ms,
        "dollars_per_million_queries": c.dollars_a_million_queries,
        "evaluation": {"measure": "nDCG@10", "mteb": list(plan.tasks), "held_out": "a labelled set of your own"},
    }  # fmt: skip


def commands(plan: Plan) -> list[str]:
    """The commands that carry a plan out."""
    m = plan.model
    bundle = m.name if m.ships else f"{m.name.split('/')[-1]}-{plan.precision}"
    lines = []
    if not m.ships:
        heads = "" if len(m.views) > 1 else " --dense-only"
        pruned = " --vocab-from documents.jsonl" if plan.pieces else ""
        lines.append(f"m3rt export {m.name} {shlex.quote(bundle)} --precision {plan.precision}{heads}{pruned}")
    lines += [f"m3rt bench {bundle}", f"m3rt eval {bundle} held-out --bm25", f"m3rt plan --data held-out -m {bundle}"]
    if plan.store == "index":
        chunks = f" --chunk-tokens {plan.chunk_tokens}" if plan.chunk_tokens else ""
        views = f" --dense {plan.dense}" + ("" if plan.sparse else " --no-sparse")
        views += f" --colbert {plan.colbert}" if plan.colbert else ""
        lines.append(f"m3rt index build my-index -m {bundle} -i documents.jsonl{views}{chunks}")
        lines.append('m3rt search my-index "a question"')
    else:
        views = " --sparse" * plan.sparse + " --colbert --colbert-precision int8" * bool(plan.colbert)
        cut = f" --truncate-dim {plan.dim}" if plan.dim < m.dim else ""
        precision = "binary" if plan.dense == "binary" else "int8"
        options = f"--dense-precision {precision}{views}{cut}"
        lines.append(
            f"m3rt encode -m {bundle} --passage -i chunks.jsonl -o part.parquet {options}  # for LanceDB, DuckDB"
        )
        lines.append(f"m3rt load PLACE -m {bundle} -i chunks.jsonl  # Qdrant, Milvus, PostgreSQL, Vespa")
    return lines


def shown(plan: Plan, q: Questions, answered: set[str]) -> list[str]:
    """The lines of a plan: what it assumes, its decisions, its reasons, and its commands."""
    c, m = plan.cost, plan.model
    beside = " beside the database's" if plan.store == "database" else ""
    rows = [
        ("model", f"{m.name} ({m.parameters}M, {m.licence})"),
        ("precision", plan.precision + " (experimental)" * (plan.precision == "int4")),
        ("bundle", _size(bundle_bytes(m, plan.precision, plan.pieces)) + _pieces(plan)),
        ("dense", f"{plan.dense}, {plan.dim} components"),
        ("sparse", "lexical weights" if plan.sparse else "none: the model has no such head"),
        ("colbert", plan.colbert or "none"),
        ("prompt", m.prompts or "none"),
        ("chunks", f"{plan.chunk_tokens} tokens" if plan.chunk_tokens else "none"),
        ("store", f"{plan.store}, {counted(plan.corpus.rows, 'row')}"),
        ("bytes", ", ".join(f"{part} {_size(n)}" for part, n in plan.parts.items()) + f": {_size(plan.bytes)}"),
        ("encode", f"{c.tokens:,.0f} tokens: {counted(c.machines, 'machine')}, {c.hours:.3g} h, ${c.dollars:,.2f}"),
        ("query", f"about {plan.query_ms:.3g} ms{beside}; ${c.dollars_a_million_queries:,.2f} a million"),
        ("evaluate", "nDCG@10 on a held-out set of yours" + (f"; mteb: {', '.join(plan.tasks)}" if plan.tasks else "")),
    ]
    assumed = ", ".join(f"{name} {_flat(value)}" for name, value in q.defaults(answered).items())
    lines = [f"assumed: {assumed}", ""] if assumed else []
    lines += [f"{name:<{_NAME}}{value}" for name, value in rows]
    lines += ["", "why", *(f"  {reason}" for reason in plan.reasons), "", *storage(plan), "", "run"]
    return [*lines, *(f"  {line}" for line in commands(plan))]


def storage(plan: Plan) -> list[str]:
    """A table of bytes for every view and precision: of one row, and of all."""
    m, corpus = plan.model, plan.corpus
    table = view_bytes(plan.dim, m.colbert_dim, corpus)
    lines = [f"{'storage':<{_NAME}}{'precision':<22}{'bytes a row':>14}{'all':>12}"]
    return lines + [f"{view:<{_NAME}}{name:<22}{n:>14,.0f}{_size(n * corpus.rows):>12}" for view, name, n in table]


def measured_lines(measured: Sequence[Measured], an_hour: float) -> list[str]:
    """The Pareto front of measured choices as a table, the chosen one marked, and what the best one is."""
    chosen, best = best_choice(measured), max(measured, key=lambda m: m.ndcg.mean())
    lines = [f"{'':<2}{'stored':<44}{'nDCG@10 [95%]':>24}{'Recall@100 [95%]':>26}{'bytes':>10}{'p99 ms':>9}{'$/1M':>8}"]
    for m in pareto(measured):
        ndcg, recall = (_interval(m, values) for values in (m.ndcg, m.recall))
        mark = "*" if m is chosen else ""
        lines.append(
            f"{mark:<2}{m.choice!s:<44}{ndcg:>24}{recall:>26}{m.bytes:>10,.0f}{m.p99_ms:>9.3g}{m.dollars(an_hour):>8.2g}"
        )
    lost = 100 * (best.ndcg.mean() - chosen.ndcg.mean())
    return [*lines, f"* {chosen.choice}: {lost:.2f} points of nDCG@10 below the best of {len(measured)}, {best.choice}"]


def measured_json(measured: Sequence[Measured], an_hour: float) -> dict[str, Any]:
    """Every measured choice, and which are on the front and chosen."""
    front, chosen = pareto(measured), best_choice(measured)
    rows = [
        {
            **asdict(m.choice),
            "nDCG@10": asdict(m.interval(m.ndcg)),
            "Recall@100": asdict(m.interval(m.recall)),
            "bytes": m.bytes,
            "p99_ms": m.p99_ms,
            "dollars_per_million_queries": m.dollars(an_hour),
            "pareto": any(m is other for other in front),
            "chosen": m is chosen,
        }
        for m in measured
    ]
    return {"measured": rows}


def _interval(m: Measured, values: Any) -> str:
    d = m.interval(values)
    return f"{d.mean:.4f} [{d.low:.4f}, {d.high:.4f}]"


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:,.4g} TB"


def _pieces(plan: Plan) -> str:
    return f", about {plan.pieces:,} pieces (experimental)" if plan.pieces else ""


def _flat(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
