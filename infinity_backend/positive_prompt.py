"""A suffix for prompts that speak of people, as the official examples may add it. Default: off."""

# Found as parts of words, in lower case only, as in the original: "manual" has one, "Man" has none.
_WORDS = (
    "man woman men women boy girl child person human adult teenager employee employer worker "
    "mother father sister brother grandmother grandfather son daughter"
)
PEOPLE = tuple(_WORDS.split(" "))
SUFFIX = "very smooth faces, good looking faces, face to the camera, perfect facial features"


def add_positive_suffix(prompt: str, suffix: str = SUFFIX) -> str:
    """The prompt, with the suffix after a full stop if it speaks of people."""
    if any(word in prompt for word in PEOPLE):
        return f"{prompt}. {suffix}"
    return prompt
