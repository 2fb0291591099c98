import pytest


@pytest.fixture
def without_plots(monkeypatch):
    """The report without the pictures that matplotlib draws, where they are not the point."""
    for name in ("draw_quality_against_compute", "draw_decisions"):
        monkeypatch.setattr(f"eval.report.{name}", lambda evaluation, path: None)
