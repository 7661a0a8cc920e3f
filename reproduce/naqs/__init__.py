"""NAQS: deep autoregressive models for the efficient variational simulation of many-body quantum systems."""
