from latent_core.models.formats import FORMATS


def test_coconut_is_what_was_released() -> None:
    coconut = FORMATS["COCONUTGPT2"]
    assert coconut.prompt("How many?") == "How many?\n<|start-latent|>"
    assert coconut.special_tokens == ("<|start-latent|>", "<|end-latent|>", "<|latent|>")
    assert coconut.latent_steps == 6
    assert coconut.extract_answer(" ### 1,234") == "1,234"
    assert coconut.extract_answer("1 # 2 # 3") == "3"
    assert coconut.extract_answer("no mark") is None


def test_braces_in_a_question_are_text() -> None:
    assert FORMATS["COCONUTGPT2"].prompt("{x} {question} {0}") == "{x} {question} {0}\n<|start-latent|>"
