from rows import Table
table = Table('json_types')
