"""NAQS: deep autoregressive models for the efficient variational simulation of many-body quantum systems."""

TITLE = "Deep autoregressive models for the efficient variational simulation of many-body quantum systems"
AUTHORS = "O. Sharir, Y. Levine, N. Wies, G. Carleo, A. Shashua"
WHERE = "Phys. Rev. Lett. 124, 020503 (2020)"
