;; Looks in memory that it never wrote for what an earlier attempt left there, and leaves something.
(memory $memory (export "memory") 66)
(data (memory $memory) (i32.const 2048) "nothing")
(data (memory $memory) (i32.const 2056) "what was left")
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (local $at i32) (local $end i32) (local $found i64)
    (drop (memory.grow (i32.const 64)))
    (local.set $at (i32.const 131072))
    (local.set $end (i32.mul (memory.size) (i32.const 65536)))
    (loop $again
        (local.set $found (i64.or (local.get $found) (i64.load (local.get $at))))
        (i64.store (local.get $at) (i64.const 0xa7a7a7a7a7a7a7a7))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $again (i32.lt_u (local.get $at) (local.get $end))))
    (if (i64.eqz (local.get $found))
        (then
            (i32.store (i32.const 1040) (i32.const 2048))
            (i32.store (i32.const 1044) (i32.const 7)))
        (else
            (i32.store (i32.const 1040) (i32.const 2056))
            (i32.store (i32.const 1044) (i32.const 13))))
    (i32.const 1024))
