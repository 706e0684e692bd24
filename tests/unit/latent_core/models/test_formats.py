"""The released formats are what was released."""

import pytest

from latent_core.models.formats import FORMATS
from latent_core.models.formats.coconut import COCONUT


@pytest.mark.parametrize("architecture", ["COCONUTGPT2", "COCONUTLlama"])
def test_coconut(architecture: str) -> None:
    coconut = FORMATS[architecture]({})
    assert coconut.fill_prompt("How many?") == "How many?\n<|start-latent|>"
    assert coconut.special_tokens == ("<|start-latent|>", "<|end-latent|>", "<|latent|>")
    assert (coconut.latent_steps, coconut.adaptive, coconut.feedback) == (6, False, "identity")
    assert coconut.extract_answer(" ### 1,234") == "1,234"
    assert coconut.extract_answer("1 # 2 # 3") == "3"
    assert coconut.extract_answer("no mark") is None


@pytest.mark.parametrize("architecture", ["CODIGPT2", "CODILlama"])
def test_codi(architecture: str) -> None:
    codi = FORMATS[architecture]({"projector": True})
    assert codi.fill_prompt("How many?") == "How many?<|start-latent|>"
    assert (codi.latent_steps, codi.adaptive, codi.feedback) == (6, False, "projector")
    assert codi.extract_answer("The answer is: 12 of 30 pens") == "30"
    assert FORMATS[architecture]({"projector": False}).feedback == "identity"


def test_colar() -> None:
    colar = FORMATS["ColarLlama"]({})
    expected = "Question: How many? Let's think step by step:(Thinking speed: 2)###"
    assert colar.fill_prompt("How many?") == expected
    assert colar.special_tokens == ("###",)
    assert (colar.latent_steps, colar.adaptive, colar.feedback) == (64, True, "latent_head")
    assert colar.extract_answer("Answer: 18") == "18"


@pytest.mark.parametrize(("said", "tokens"), [(510, ()), (-1, ("###",)), (None, ("###",))])
def test_colar_stops_at_the_id_that_its_configuration_names(said: int | None, tokens: tuple[str, ...]) -> None:
    assert FORMATS["ColarLlama"]({"latent_end_id": said}).special_tokens == tokens


def test_braces_in_a_question_are_text() -> None:
    assert COCONUT.fill_prompt("{x} {question} {0}") == "{x} {question} {0}\n<|start-latent|>"
