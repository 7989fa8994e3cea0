// SPDX-License-Identifier: Apache-2.0
// Checks OpenAPI documents with @seriousme/openapi-schema-validator: `node openapi_valid.js FILE...` prints a line for each,
// "FILE VERSION" or "FILE invalid: ...". Exit code 1 when one is invalid.
const fs = require('fs');

async function main(files) {
  const { Validator } = await import('@seriousme/openapi-schema-validator');
  const validator = new Validator();
  for (const file of files) {
    const result = await validator.validate(JSON.parse(fs.readFileSync(file, 'utf8')));
    if (!result.valid) process.exitCode = 1;
    console.log(`${file} ${result.valid ? validator.version : 'invalid: ' + JSON.stringify(result.errors).slice(0, 2000)}`);
  }
}

main(process.argv.slice(2));
