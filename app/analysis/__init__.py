"""From stored trajectories to critical constants, phases and regimes; no TensorFlow here."""
