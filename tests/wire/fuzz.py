"""Hypothesis strategies for what peers may send: plain values, and golden bytes with a few things wrong."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from nh.wire.netsip.storable import Value
from tests.profiles import examples

fuzzed = settings(deadline=None, max_examples=examples(300), suppress_health_check=[HealthCheck.too_slow])

scalars: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.integers(-(2**31), 2**31 - 1),
    st.binary(max_size=300),
    st.text(max_size=40),
)
"""What Storable keeps exactly as it is."""

_keys = st.one_of(
    st.binary(max_size=8), st.text(min_size=1, max_size=8).filter(lambda text: not text.isascii())
)

values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(_keys, inner, max_size=5)),
    max_leaves=20,
)


@st.composite
def mutated(draw: st.DrawFn, images: st.SearchStrategy[bytes]) -> bytes:
    """One of `images` with some bytes changed, taken out, doubled or put in, or cut short."""
    image = bytearray(draw(images))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(image)))
        size = draw(st.integers(1, 8))
        match draw(st.sampled_from(["change", "delete", "double", "insert", "truncate"])):
            case "change":
                image[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "delete":
                del image[at : at + size]
            case "double":
                image[at:at] = image[at : at + size]
            case "insert":
                image[at:at] = draw(st.binary(min_size=1, max_size=size))
            case _:
                del image[at:]
    return bytes(image)
