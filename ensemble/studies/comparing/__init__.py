"""The arms of studies side by side: intervals, sheets, drawings, pages.

Only repeats of the best settings are fitted from here, through ``running``.
"""
