"""`prepare`: every way answers as `cosine_max` does, in any parts, and says what memory it needs."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

import hud_fast as hud
from hud_fast.kernels.cosine import MemoryLimitError, cosine_max, prepare


@pytest.fixture(scope="module")
def mixed():
    """Shares (700, 4), endmembers (4, 40) as `read_endmembers` gives them, noisy pixels (900, 40)."""
    rng = np.random.default_rng(0)
    ends = rng.uniform(0.1, 0.9, (4, 40))
    reference = oracles.random_simplex(rng, 900, 4) @ ends + 1e-3 * rng.normal(size=(900, 40))
    shares = oracles.random_simplex(rng, 700, 4)
    return torch.from_numpy(shares), torch.from_numpy(ends), torch.from_numpy(reference)


def in_parts(search, query):
    found = [search.run(part) for part in query.split(300)]
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


@pytest.mark.parametrize("way", ["cpu", "torch", "index", "index of others", "strided"])
@pytest.mark.parametrize("formed", [False, True])
def test_every_way_answers_as_one_call(mixed, way, formed):
    shares, ends, reference = mixed
    spectra = shares @ ends
    expected = cosine_max(spectra, reference)
    among, backend = reference, way if way in ("cpu", "torch") else None
    if way.startswith("index"):
        other = ends.flip(0) if way == "index of others" else ends
        among = hud.CosineIndex(reference, endmembers=other)
    query = spectra if formed else shares
    if way == "strided":
        query = query.T.contiguous().T
    known = {} if formed else {"endmembers": ends}
    value, row = in_parts(prepare(query, among, backend=backend, **known), query)
    torch.testing.assert_close(value, expected[0], rtol=0, atol=1e-14)
    assert torch.equal(row, expected[1])
    assert hud.last_backend() == ("torch" if way == "torch" else "cpu")


@pytest.mark.parametrize("formed", [False, True])
def test_a_limit_is_refused_with_the_least_that_would_do(mixed, formed):
    shares, ends, reference = mixed
    query, known = (shares @ ends, {}) if formed else (shares, {"endmembers": ends})
    with pytest.raises(MemoryLimitError, match="cosine_max: `memory_limit` must be at least") as no:
        prepare(query, reference, memory_limit=1000, **known)
    least = no.value.least
    assert f"at least {least} bytes" in str(no.value)
    with pytest.raises(MemoryLimitError):
        prepare(query, reference, memory_limit=least - 1, **known)
    value, _ = prepare(query, reference, memory_limit=least, **known).run(query)
    torch.testing.assert_close(value, cosine_max(shares @ ends, reference)[0], rtol=0, atol=1e-14)
