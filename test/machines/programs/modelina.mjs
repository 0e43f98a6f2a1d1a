import { readFileSync } from 'node:fs';
import { TypeScriptFileGenerator } from '@asyncapi/modelina';

const [, , document, folder] = process.argv;
const generator = new TypeScriptFileGenerator({ modelType: 'interface', enumType: 'union', rawPropertyNames: true, moduleSystem: 'ESM' });
const models = await generator.generateToFiles(JSON.parse(readFileSync(document, 'utf8')), folder, { exportType: 'named' });
console.log(JSON.stringify(models.map(({ modelName }) => modelName)));
