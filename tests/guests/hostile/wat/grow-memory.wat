;; Grows its memory page by page until it is stopped.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again (drop (memory.grow (i32.const 1))) (br $again))
    (i32.const 0))
