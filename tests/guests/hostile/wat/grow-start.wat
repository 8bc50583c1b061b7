;; Asks for 1 GiB in its start function.
(func $grow (drop (memory.grow (i32.const 16384))))
(start $grow)
