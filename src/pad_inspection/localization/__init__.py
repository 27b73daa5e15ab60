"""From an image and its object mask to poses: crops, local features, retrieval, matching, PnP.

``localizer.Localizer`` is what the online flow calls; ``reference.ReferenceModel`` is what it
knows of the product, made by ``offline.build_model``.
"""
