"""GBNF of the integers in a range."""


def integer_range(low: int, high: int) -> str:
    """An expression for the decimal integers from `low` to `high`, "" when there are none."""
    options = []
    if low < 0:
        options += [f'"-" {one}' for one in _positive(max(1, -high), -low)]
    if low <= 0 <= high:
        options.append('"0"')
    options += _positive(max(1, low), high)
    return " | ".join(options)


def _positive(low: int, high: int) -> list[str]:
    """Expressions for the numbers from `low` (at least 1) to `high`, one size after the other."""
    found = []
    for digits in range(len(str(low)), len(str(max(high, 0))) + 1):
        first, last = max(low, 10 ** (digits - 1)), min(high, 10**digits - 1)
        if first <= last:
            found += _same_size(str(first), str(last))
    return found


def _same_size(low: str, high: str) -> list[str]:
    """Expressions for the numbers from `low` to `high`, which have equally many digits."""
    if not low:
        return [""]
    rest = len(low) - 1
    if low[0] == high[0]:
        return [f'"{low[0]}" {one}'.strip() for one in _same_size(low[1:], high[1:])]
    found, first, last = [], int(low[0]), int(high[0])
    if low[1:] != "0" * rest:
        found += [f'"{first}" {one}'.strip() for one in _same_size(low[1:], "9" * rest)]
        first += 1
    if high[1:] != "9" * rest:
        found += [f'"{last}" {one}'.strip() for one in _same_size("0" * rest, high[1:])]
        last -= 1
    if first <= last:
        digits = f"[{first}-{last}]" if first < last else f'"{last}"'
        found.append(f"{digits} [0-9]{{{rest}}}" if rest else digits)
    return found
