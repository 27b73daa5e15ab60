"""ROS 2 layer: nodes, interfaces, parameters, conversions, bags, and starting the node graph.

The nodes are thin: everything that judges a picture is in pad_inspection.pipeline, everything that
judges a piece in pad_inspection.decision. Only this sub-package imports rclpy.
"""
