"""Attacks: mutated files of every kind that strangers may send, and what has to come of them.

Each module but `mutate`, `guard`, `reference`, `cases`, `corpus` and `attack` is a kind: its
`attack` writes a mutated input into a folder, gives it to the program and judges the answer.
"""
