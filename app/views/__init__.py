"""Pictures and TensorBoard files from tables; no TensorFlow here."""
