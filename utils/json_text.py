"""JSON from elsewhere: nothing of it is lost, and nothing fails later than here."""

import json
from collections import Counter


def parse_json(text: str) -> object:
    """The content of a JSON text.

    Raises:
        ValueError: it is no JSON; it is nested too deeply to be anybody's data; a number has
            thousands of digits; a text has half a character (a lone surrogate), which no file can
            hold; or a key occurs twice in one object, all but the last of which would be lost.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object)
        if "\\u" in text:  # which alone can bring surrogates in
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"it holds {half!r}, half of a character") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "digits" not in str(error):
            raise
        raise ValueError("a number has thousands of digits") from error
    return content


def _object(pairs: list[tuple[str, object]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"{twice[:60]!r} occurs twice in one object")
    return content
