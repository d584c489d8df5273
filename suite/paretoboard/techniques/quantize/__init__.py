"""Fewer bits for weights and activations."""

from paretoboard.techniques.quantize.cast import Cast
from paretoboard.techniques.quantize.mixed import MixedQuantization
from paretoboard.techniques.quantize.post_training import DynamicQuantization, StaticQuantization
from paretoboard.techniques.quantize.qat import QuantizationAwareTraining
from paretoboard.techniques.quantize.weight_only import WeightQuantization

__all__ = [
    "Cast",
    "DynamicQuantization",
    "MixedQuantization",
    "QuantizationAwareTraining",
    "StaticQuantization",
    "WeightQuantization",
]
