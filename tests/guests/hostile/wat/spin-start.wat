;; Never ends its start function.
(func $spin (loop $again (br $again)))
(start $spin)
