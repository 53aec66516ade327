"""Names that were replaced stay replaced: none of these is left in the code, and none comes back.

Each row is a pattern of an old name and the name that took its place. Patterns look at identifiers
in code and in prose; where an old name is also a plain English word, its pattern asks for the form
in which it was a name (a call, an attribute, a class). The changelog may tell of old names.
"""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

MODULES = {
    "pufferenv": """
        spec.h env.c check.h finish.c threads.c threads.h memory.py done.py steps.py config.py
        vector.py rows.py outside.py outside.c outside_line.c hosts.py parallels.py batches.py
        masks.py infos.py backends.py processes.py worker.py shared.py wrapping.py gym.py
        registration.py""",
    "pufferlib": """
        crew.py tape.py cores.py threads.py memory.py profile.py manual.py manual_recurrent.py
        dense.py cells.py loss.py reference.py encode.py parts.py normalize.py collect.py
        learn.py batch.py schedule.py named.py train.py runs.py show.py bench.py roofline.py
        alone.h kernels.h load.py check.py""",
}
NAMES = {
    # threads and recorded graphs
    r"\b[Cc]rews?\b": "thread pool",
    r"\b[Tt]apes?\b": "graph",
    r"\bDoer\b": "Executor",
    r"\bNOW\b": "EAGER",
    r"\bStretch(es)?\b": "StreamSlice",
    r"\bclass (Work|Track|Given|Input)\b": "LaunchPlan, Stream, GraphInput",
    r"\.put\(": ".bind",
    r"\b(note_loss|note_acting|_note)\b": "record_loss, record_forward",
    r"\bpuf_alone\b|\bkernels_\w+\.[ch]\b": "graph.c, kernels/....h",
    r"\b(is_)?watched\(\)|\bPufPass\w*|\b(shown|narrowed)\(": "graph.flops, PufKernel, as_array",
    # fused networks
    r"\bByHand\b|\bby[_ ]hand\b": "FusedNetwork, fused",
    r"\bManual[A-Z]?\w*": "Fused...",
    r"\b(Own)?Lesson\b": "...Workspace",
    r"\b(LSTMPart|MinGRUPart|RecurrentPart)\b": "...Workspace",
    r"\bclass Turn\b|\bTurn\(": "ActGraph",
    r"\bHands?\b|\bhands?\b(?= of | for |\.|,| in | = |:|\[|\))": "worker",
    r"\bforth\b": "forward",
    r"\bdef back\b|\.back\(|\b(?!test_)\w+_back\b": "backward",
    r"\b(begin_back|end_back)\b": "zero_folded_grads, unfold_grads",
    r"\b_?[Ff]oresee(s|n)?\b|\bforesaw\b": "bootstrap",
    r"\bdef (look|shown|narrowed|apart|taken|converted|factors)\b": "evaluate, as_array, ...",
    r"\.(apart|sees|said)\b": "is_async or split_heads, input_dtype, outputs",
    r"\b(at_once|LOOKED_AT|AT_ONCE|STEPPED|GRAIN|LEAST|WAIT|SHARE|PART)\b": "..._CHUNK",
    r"\b(MOMENT|numbers=|moment=)": "LossParams, SampleParams, AdamParams",
    r"\bclass (Standard|Steps|Memory|Dense|Stretched|Part|Minute)\b": "AdvantageNormalization, ...",
    r"\b_kernels\.(turn|carry|keep|begin|join|dense\w*)\b": "transpose_rows, mask_state, ...",
    r"\bpuf_passes\b|\bPufPasses\b|\bPUF_PASSES\b": "puf_kernels",
    # environments written in Python
    r"\b[Oo]utside(Game|Engine|_\w+)": "External...",
    r"\b[Oo]utside envs?\b|\benvs? from outside\b": "external env",
    r"\b(Outline|Singles|Parallels|Batches|make_host)\b": "EnvDescription, ...Runner, make_runner",
    r"\bclass (Only|Mail|Table|Line)\b|\bPuf(Mail|Outside|Line)\b": "SingleEnvFactory, ...",
    # the engine
    r"\bpuf_engine_(look|act|steer|lattice|live)\b": "check_faults, set_discrete_actions, ...",
    r"\bpuf_blocks\b|\bPufThreads\b": "puf_parallel_for, PufThreadPool",
    r"\bpiece_start\b|\bpieces?\b(?= of (a|one|the) row)": "segment",
    r"\[\"(waiting|fresh|over|actions|axes|rewards)\"\]": "bootstrap_slot, life_start, ...",
    # a run
    r"\bclass (Session|Stop|Picked)\b": "TrainingRun, Choice, ...",
    r"\b(open_policy|check_fits)\b": "load_policy_for, check_compatible",
    # prose that a reader has to translate
    r"\bin vain\b": "the result is discarded",
    r"\bwhoever\b|\bnobody's\b": "any agent that, no one's",
    r"\bback and forth\b|\bamounts to\b": "say what happens",
}
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".md", ".toml", ".inc")
SKIP = {"CHANGELOG.md", "tests/test_names.py"}


def sources() -> list[str]:
    tops = ("pufferenv", "pufferlib", "ocean", "tests", "bench", "docs", "examples")
    files = [f for top in tops for f in (ROOT / top).rglob("*")] + [*ROOT.glob("*.*")]
    names = [f.relative_to(ROOT).as_posix() for f in files if f.suffix in SUFFIXES]
    return sorted({*names} - SKIP)


TEXTS = {name: (ROOT / name).read_text() for name in sources()}


@pytest.mark.parametrize("pattern", NAMES)
def test_an_old_name_is_gone(pattern: str) -> None:
    found = [
        f"{name}:{text[: match.start()].count(chr(10)) + 1}: {match[0]}"
        for name, text in TEXTS.items()
        for match in re.finditer(pattern, text)
    ]
    assert not found, f"now {NAMES[pattern]}: {found}"


def test_an_old_file_is_gone() -> None:
    left = [
        f"{p}/{n}" for p, names in MODULES.items() for n in names.split() if (ROOT / p / n).exists()
    ]
    assert not left
