import pytest

from tests.helpers.figures import draw_no_figures


@pytest.fixture(scope="session", autouse=True)
def no_figures():
    draw_no_figures()
