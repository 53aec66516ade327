"""The tables of docs/external.md are those of kinds.toml."""

import pytest

from pufferlib.config import kinds
from pufferlib.config.flags import format_value
from tests.support.paths import ROOT


def document(family):
    """Return a family's tables as one table of a document: a row per option, a column per kind."""
    tables = dict(kinds.tables()[family])
    of_all = tables.pop("all")
    columns = [
        {
            (section, key): format_value(value)
            for settings in (of_all, table)
            for section, values in settings.items()
            for key, value in values.items()
        }
        for table in tables.values()
    ]
    options = list(dict.fromkeys(option for column in columns for option in column))
    sections = ["env", "vec", "train", "policy"]
    rows = [["", *(f"`{family}.{kind}`" for kind in tables)], ["---"] * (len(tables) + 1)]
    for section, key in sorted(options, key=lambda option: sections.index(option[0])):
        row = [column.get((section, key), "") for column in columns]
        rows.append([f"`{section}.{key}`", *row])
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in rows]
    return "\n".join(lines)


@pytest.mark.parametrize("family", ["python", "c"])
def test_the_document_has_the_settings_of_every_kind(family):
    table = document(family)
    text = (ROOT / "docs" / "external.md").read_text(encoding="utf-8")
    assert f"\n\n{table}\n\n" in text, f"docs/external.md needs this table:\n\n{table}"
