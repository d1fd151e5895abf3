"""What recipes that make networks smaller are worth: every one as a file that is measured, never as a promise.

In this order: ``weights`` (masks, clusters), ``channels`` (channels that are really gone), ``tuning`` (what training
brings back), ``recipes`` (a recipe to a file), ``measuring``, ``counting``, ``memory`` (what a file costs), ``report``,
``tables``.
"""
