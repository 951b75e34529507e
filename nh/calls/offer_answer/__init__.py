"""Offer/answer (RFC 3264) as ng's commands drive it: participants, dialogs, branches, and what each party
announced.
"""
