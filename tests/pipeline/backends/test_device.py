import pytest

from pipeline.backends.device import bfloat16_is_native, cpu_flags


@pytest.mark.parametrize(
    ("description", "native"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_tile amx_bf16\nbugs\t\t: spectre\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", False),
        ("Features\t: fp asimd\n", False),
        ("model name\t: a CPU with avx512_bf16 in its name\nflags\t\t: fpu\n", False),
    ],
)
def test_a_cpu_that_multiplies_bfloat16_says_so_in_its_flags(tmp_path, description, native):
    (tmp_path / "cpuinfo").write_text(description)
    assert bfloat16_is_native(tmp_path / "cpuinfo") is native


def test_a_machine_that_tells_nothing_is_taken_to_have_nothing(tmp_path):
    assert cpu_flags(tmp_path / "cpuinfo") == set()
    assert not bfloat16_is_native(tmp_path / "cpuinfo")
