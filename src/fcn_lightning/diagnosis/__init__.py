"""What is wrong with a data set, in sentences: the scan of its files, the findings, and the folder that mends them."""
