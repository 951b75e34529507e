"""The media pipeline: the stages that packets go through, as plans, and the readers that plans compile to."""
