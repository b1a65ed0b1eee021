"""One run of a proxy: started and told what to do from outside, seen from inside, told afterwards."""
