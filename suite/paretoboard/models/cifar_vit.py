"""Small vision transformers for images of 32x32, in patches of 4x4.

Source: Dosovitskiy et al. 2020, ViT, arXiv:2010.11929, section 3.1; the mean over the tokens in place of a class
token is Beyer et al. 2022's, arXiv:2205.01580. Blocks are those of nn.TransformerEncoderLayer with `norm_first`, but
made of nn.Linear layers only: that one keeps a part of its weights where no technique finds them, and in evaluation
runs one fused operator whose multiplications no counter sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from paretoboard.models.native import IMAGES_OF_32

if TYPE_CHECKING:
    from collections.abc import Callable

NATIVE: Final = IMAGES_OF_32


SIDE = 32
PATCH = 4
HEADS = 5
MLP_RATIO = 2  # hidden units of a block's perceptron, over its width; 4 in the paper's large networks


class _Attention(nn.Module):
    """Multi-head self-attention, (n, tokens, width) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return result


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = _Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, MLP_RATIO * width)
        self.linear2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        result: Tensor = x + self.linear2(F.gelu(self.linear1(self.norm2(x))))
        return result


class VisionTransformer(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    def __init__(self, width: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.position = nn.Parameter(torch.empty(1, (SIDE // PATCH) ** 2, width))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.position, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def keep_channels(self) -> tuple[str, ...]:
        """Layers whose output channels can't be cut: what is added up, and the heads, of fixed width."""
        kept = ("attention.qkv", "attention.proj", "linear2")
        return ("patches", *(name for name, _ in self.named_modules() if name.endswith(kept)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.linear(self.norm(self.blocks(tokens)).mean(1))
        return logits


def _factory(width: int, blocks: int) -> Callable[..., nn.Module]:
    def build(classes: int = 10) -> nn.Module:
        return VisionTransformer(width, blocks, classes)

    build.__doc__ = f"The network of {blocks} blocks, {width} wide."
    return build


# Equally wide: twice as deep is twice as much of both.
vit_270k = _factory(80, 5)
vit_41m = _factory(80, 10)
