"""Offer/answer (RFC 3264) as ng's commands drive it: participants, dialogs, branches, announced media."""
