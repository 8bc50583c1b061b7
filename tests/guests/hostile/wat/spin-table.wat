;; Fills a table of 60,000 elements again and again, each time by one instruction.
(table $table 60000 funcref)
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again
            (table.fill $table (i32.const 0) (ref.null func) (i32.const 60000))
            (br $again))
    (i32.const 0))
