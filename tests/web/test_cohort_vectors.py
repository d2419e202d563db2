import json

from tests.web import cohort_vectors


def test_known_answers_for_browsers_are_what_python_says():
    stored = json.loads(cohort_vectors.FILE.read_text())

    assert json.loads(cohort_vectors.text()) == stored, (
        "Run: python -m tests.web.cohort_vectors"
    )
