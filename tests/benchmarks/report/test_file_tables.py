import json

import pytest

from benchmarks.report import file_tables


def test_expanded_folders_of_several_kinds_are_refused(tmp_path):
    run = dict.fromkeys(file_tables.EXPANDED, 1) | {"arm": "expanded", "seed": 0, "expand": None}
    strengths = [{"expand": {"strength": strength, "target": {"balance": True}}} for strength in (0.1, 0.2)]
    for name, others in (("steps", [{"steps": 9}, {"steps": 10}]), ("expand", strengths)):
        (tmp_path / "e.jsonl").write_text("".join(json.dumps(run | other) + "\n" for other in others))
        with pytest.raises(ValueError, match=rf"differ in {name} \("):
            file_tables.expanded({"file": str(tmp_path / "e.jsonl")})
