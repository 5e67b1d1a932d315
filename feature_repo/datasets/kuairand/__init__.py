"""KuaiRand-Pure: real short-video exposures with eight feedback signals."""
