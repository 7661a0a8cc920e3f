"""Ngairangbam, Spannowsky, Sypchenko: normalising-flow-assisted neural quantum states."""
