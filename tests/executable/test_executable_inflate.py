"""Our DEFLATE against zlib's: what zlib writes comes out the same, and no damage breaks bounds."""

import random
import struct
import subprocess
import zlib
from pathlib import Path

import onefile
import pytest

pytestmark = pytest.mark.integration

SEED = 20
STRATEGIES = (
    zlib.Z_DEFAULT_STRATEGY,
    zlib.Z_FILTERED,
    zlib.Z_HUFFMAN_ONLY,
    zlib.Z_RLE,
    zlib.Z_FIXED,
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("inflate") / "driver"
    folder = onefile.HERE / "launcher"
    command = ["cc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [Path(__file__).with_name("inflate_driver.c"), folder / "inflate.c"]
    subprocess.run([*command, f"-I{folder}", *sources, "-o", target], check=True)
    return target


def judged(driver: Path, cases: list[tuple[bytes, int]]) -> list[tuple[bool, int]]:
    """Whether each stream was taken for so many bytes, and the checksum of what came out."""
    fed = b"".join(struct.pack("=II", len(one), size) + one for one, size in cases)
    done = subprocess.run([driver], input=fed, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return [(bool(taken), crc) for taken, crc in struct.iter_unpack("=BI", done.stdout)]


def deflated(content: bytes, level: int, strategy: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    return packer.compress(content) + packer.flush()


def contents(chance: random.Random) -> list[bytes]:
    """Empty, tiny, random, repetitive, skewed and program-like bytes of many sizes."""
    found = [b"", b"a", bytes(300_000), Path("/bin/sh").read_bytes()]
    for size in (3, 258, 259, 32_767, 32_769, 65_535, 65_536, 200_000):
        found.append(chance.randbytes(size))
        unit = chance.randbytes(chance.randint(1, 40_000))
        found.append((unit * (size // len(unit) + 1))[:size])
        found.append(bytes(min(255, int(chance.expovariate(0.2))) for _ in range(size)))
    return found


def test_whatever_zlib_writes_comes_out_the_same(driver: Path) -> None:
    chance = random.Random(SEED)
    cases, wanted = [], []
    for content in contents(chance):
        for level in (0, 1, 6, 9):
            for strategy in STRATEGIES:
                cases.append((deflated(content, level, strategy), len(content)))
                wanted.append((True, zlib.crc32(content)))
    assert judged(driver, cases) == wanted


def test_a_wrong_size_is_refused(driver: Path) -> None:
    packed = deflated(b"sluice " * 1_000, 6, 0)
    assert [taken for taken, _ in judged(driver, [(packed, 6_999), (packed, 7_001)])] == [False] * 2


def test_damage_is_refused_or_gives_other_bytes_and_never_breaks_bounds(driver: Path) -> None:
    chance = random.Random(SEED)
    originals = [(one, deflated(one, 6, s)) for one in contents(chance)[1:12] for s in STRATEGIES]
    cases = []
    for _ in range(3_000):
        content, packed = chance.choice(originals)
        broken = bytearray(packed)
        for _ in range(chance.randint(1, 3)):
            broken[chance.randrange(min(len(broken), 4_000))] ^= 1 << chance.randrange(8)
        cases.append((bytes(broken[: chance.randint(1, len(broken))]), len(content)))
    cases += [(chance.randbytes(chance.randint(0, 400)), 1_000) for _ in range(3_000)]
    verdicts = judged(driver, cases)
    assert len(verdicts) == len(cases)
    assert sum(taken for taken, _ in verdicts) < len(cases) / 2


def test_incomplete_and_oversubscribed_codes_are_refused(driver: Path) -> None:
    kind_three = bytes([0b111])
    stored_with_wrong_inverse = bytes([1, 5, 0, 0, 0]) + b"hello"
    all_lengths_missing = bytes([0b00000101, 0, 0, 0])
    cases = [(kind_three, 1), (stored_with_wrong_inverse, 5), (all_lengths_missing, 1), (b"", 0)]
    assert [taken for taken, _ in judged(driver, cases)] == [False] * 4
