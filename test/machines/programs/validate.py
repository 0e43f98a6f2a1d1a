import json
import sys

from jsonschema import Draft202012Validator

with open(sys.argv[1]) as file:
    schema = json.load(file)
with open(sys.argv[2]) as file:
    golden = json.load(file)

Draft202012Validator.check_schema(schema)
whole = Draft202012Validator(schema)
refused = []
for case in golden:
    alone = Draft202012Validator(schema[case["direction"]][case["type"]])
    named = Draft202012Validator({"$ref": f"#/$defs/{case['name']}", "$defs": schema["$defs"]})
    for validator in (alone, named, whole):
        refused += [f"{case['name']}: {error.message}" for error in validator.iter_errors(case["frame"])]
print(json.dumps({"frames": len(golden), "refused": refused}))
