s/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/<id>/g
s/"timestamp":[0-9.e+]+/"timestamp":<time>/g
s/"request_id":"[0-9a-f]+"/"request_id":"<id>"/g
s/"token":"[^"]+"/"token":"<token>"/g
