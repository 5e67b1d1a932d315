"""Our rankers beside their peers on the same KuaiRand exposures: `mixer bench quality`."""
