from rows import Table
table = Table('lua_values')
