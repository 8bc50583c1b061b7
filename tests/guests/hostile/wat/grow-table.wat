;; Grows a table until it is stopped.
(table $table 0 funcref)
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again (drop (table.grow $table (ref.null func) (i32.const 1000))) (br $again))
    (i32.const 0))
