"""The operator's page: a web page on this machine that drives the loop of ``worldmodel robot
run`` and shows what the arm's loop says."""
