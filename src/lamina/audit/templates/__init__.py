"""The rules that compare deploy descriptions with what lamina builds."""
