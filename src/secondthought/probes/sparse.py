"""Sparse autoencoders: a stream as a sum of few directions. Our own is trained here; others come through sae-lens.

z = TopK(W_e (x - b)),  x' = W_d z + b,  loss |x - x'|^2            (TopK: arXiv 2406.04093)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondthought.errors import UserError

Matrix = NDArray[np.floating[Any]]
STEPS, BATCH = 400, 256


@dataclass(frozen=True)
class Sparse:
    """Latents of a stream: ``encode`` gives codes ``(N, D)``; a row of ``decoder`` ``(D, M)`` is what a latent adds."""

    encoder: Matrix
    decoder: Matrix
    shift: Matrix
    scale: float
    k: int

    def encode(self, x_NM: Matrix) -> Matrix:
        """The codes of some rows; all but the ``k`` largest of a row are 0."""
        pre_ND = (x_NM / self.scale - self.shift) @ self.encoder
        if self.k < pre_ND.shape[1]:
            least_N1 = np.partition(pre_ND, -self.k, axis=1)[:, -self.k][:, None]
            pre_ND = np.where(pre_ND >= least_N1, pre_ND, 0.0)
        return np.maximum(pre_ND, 0.0)

    def explained(self, x_NM: Matrix) -> float:
        """The share of variance that the codes of some rows explain."""
        made_NM = self.encode(x_NM) @ self.decoder + self.shift
        x_NM = x_NM / self.scale
        return float(1 - ((x_NM - made_NM) ** 2).sum() / max(1e-12, float(((x_NM - x_NM.mean(axis=0)) ** 2).sum())))


def trained(x_NM: Matrix, *, k: int = 16, width: int = 8, seed: int = 0, steps: int = STEPS) -> Sparse:
    """A TopK autoencoder of ``width`` latents for each dimension, fitted to some rows.

    >>> rng = np.random.default_rng(0)
    >>> x = np.maximum(rng.standard_normal((300, 4)), 0) @ rng.standard_normal((4, 8))
    >>> trained(x, k=4, width=2).explained(x) > 0.8
    True
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    scale = float(np.linalg.norm(x_NM, axis=1).mean()) / max(1.0, float(x_NM.shape[1])) ** 0.5
    data_NM = torch.as_tensor(np.asarray(x_NM / max(scale, 1e-12)), dtype=torch.float32)
    dimensions = data_NM.shape[1]
    latents = max(k + 1, min(width * dimensions, 8192))
    decoder_DM = torch.randn(latents, dimensions, generator=generator)
    decoder_DM = decoder_DM / decoder_DM.norm(dim=1, keepdim=True)
    shift_M = data_NM.mean(0).clone().requires_grad_()
    encoder_MD = decoder_DM.T.clone().requires_grad_()
    decoder_DM.requires_grad_()
    maker = torch.optim.Adam([encoder_MD, decoder_DM, shift_M], lr=2e-3)
    with torch.enable_grad():
        for _ in range(steps):
            some = data_NM[torch.randint(len(data_NM), (min(BATCH, len(data_NM)),), generator=generator)]
            pre_ND = (some - shift_M) @ encoder_MD
            top = pre_ND.topk(k, dim=1)
            codes_ND = torch.zeros_like(pre_ND).scatter(1, top.indices, top.values.relu())
            loss = ((codes_ND @ decoder_DM + shift_M - some) ** 2).sum(1).mean()
            maker.zero_grad()
            loss.backward()
            maker.step()
            with torch.no_grad():  # a direction's length must not stand in for how strongly it is active
                decoder_DM /= decoder_DM.norm(dim=1, keepdim=True).clamp(min=1e-8)
    encoder, decoder, shift = (one.detach().double().numpy() for one in (encoder_MD, decoder_DM, shift_M))
    return Sparse(encoder, decoder, shift, max(scale, 1e-12), k)


def loaded(place: str) -> Any:
    """An autoencoder that sae-lens knows: a folder, or ``RELEASE/ID`` of the hub; it encodes as :class:`Sparse` does.

    Raises UserError where sae-lens is not installed, or knows no such autoencoder.
    """
    try:
        from sae_lens import SAE
    except ImportError as error:
        raise UserError("pretrained autoencoders are loaded by sae-lens; pip install sae-lens") from error
    try:
        if Path(place).is_dir():
            found = SAE.load_from_disk(place)
        else:
            release, _, name = place.partition("/")
            found = SAE.from_pretrained(release, name)
    except Exception as error:
        raise UserError(f"sae-lens has no autoencoder {place}: {str(error)[:200]}") from error
    return Lens(found[0] if isinstance(found, tuple) else found)


class Lens:
    """An autoencoder of sae-lens in the shape of :class:`Sparse`."""

    def __init__(self, sae: Any) -> None:
        self.sae = sae
        self.decoder = sae.W_dec.detach().float().cpu().numpy()

    def encode(self, x_NM: Matrix) -> Matrix:
        """The codes of some rows. Raises UserError for a stream of another width."""
        import torch

        if x_NM.shape[1] != self.decoder.shape[1]:
            raise UserError(f"the autoencoder reads streams of width {self.decoder.shape[1]}, and this one has {x_NM.shape[1]}")
        with torch.no_grad():
            rows = torch.as_tensor(np.asarray(x_NM), dtype=self.sae.W_dec.dtype, device=self.sae.W_dec.device)
            return np.asarray(self.sae.encode(rows).float().cpu().numpy())
