"""Which network a configuration of the PixelCNN means."""

from __future__ import annotations

from pipeline.spin.ansatz.pixelcnn.causal import CausalNetwork
from pipeline.spin.ansatz.pixelcnn.network import PixelCNN
from pipeline.spin.ansatz.pixelcnn.single import SinglePixelCNN
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.systems import SpinSystem


def pixelcnn(config: PixelCNNConfig, system: SpinSystem) -> CausalNetwork:
    """The network of ``config.branches`` branches."""
    return (SinglePixelCNN if config.branches == 1 else PixelCNN)(config, system)
